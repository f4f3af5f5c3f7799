{{ config(materialized='incremental', unique_key='tool_call_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

)

select
    {{ dbt_utils.generate_surrogate_key(['call.tool_use_id']) }} as tool_call_id,
    call.message_id as message_key,
    {{ dbt_utils.generate_surrogate_key(['call.session_id']) }} as session_key,
    {{ dbt_utils.generate_surrogate_key(['session.project_path']) }} as project_key,
    {{ dbt_utils.generate_surrogate_key(['call.tool_name']) }} as tool_key,
    call.date_key,
    call.tool_name,
    call.is_success,
    call.is_rejected,
    call.error_class,
    call.duration_ms,
    cast(call.retry_count as bigint) as retry_count,
    cast(call.input_size as bigint) as input_size,
    cast(call.output_size as bigint) as output_size,
    call.turn_number,
    call.is_sidechain,
    call.seen_in,
    call.timestamp,
    call.session_id,
    call._version
from {{ ref('int_tool_usage') }} as call
inner join touched on touched.session_id = call.session_id
inner join {{ ref('int_sessions_computed') }} as session on session.session_id = call.session_id
