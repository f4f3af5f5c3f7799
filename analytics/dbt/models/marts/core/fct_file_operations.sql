{{ config(materialized='incremental', unique_key='operation_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

)

select
    {{ dbt_utils.generate_surrogate_key(['call.tool_use_id', 'call.file_path']) }} as operation_id,
    {{ dbt_utils.generate_surrogate_key(['call.tool_use_id']) }} as tool_call_key,
    {{ dbt_utils.generate_surrogate_key(['call.session_id']) }} as session_key,
    {{ dbt_utils.generate_surrogate_key(['session.project_path']) }} as project_key,
    call.date_key,
    call.file_path,
    nullif(lower(regexp_extract({{ base_name('call.file_path') }}, '[^.][.]([A-Za-z0-9_]+)$', 1)), '') as file_extension,
    call.operation_type,
    cast(call.lines_added as bigint) as lines_added,
    cast(call.lines_removed as bigint) as lines_removed,
    cast(call.lines_added + call.lines_removed as bigint) as lines_changed,
    call.session_id,
    call._version
from {{ ref('int_tool_usage') }} as call
inner join touched on touched.session_id = call.session_id
inner join {{ ref('int_sessions_computed') }} as session on session.session_id = call.session_id
where call.is_success
    and call.file_path is not null
