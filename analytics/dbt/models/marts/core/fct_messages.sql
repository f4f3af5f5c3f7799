{{ config(materialized='incremental', unique_key='message_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

)

select
    message.message_id,
    {{ dbt_utils.generate_surrogate_key(['message.session_id']) }} as session_key,
    {{ dbt_utils.generate_surrogate_key(['session.project_path']) }} as project_key,
    message.date_key,
    {{ optional_key('message.model') }} as model_key,
    message.model,
    message.role,
    message.is_sidechain,
    message.seen_in,
    message.content_length,
    message.task_category,
    message.timestamp,
    message.input_tokens,
    message.output_tokens,
    message.cache_write_5m_tokens,
    message.cache_write_1h_tokens,
    message.cache_read_tokens,
    message.input_tokens + message.output_tokens + message.cache_write_5m_tokens
        + message.cache_write_1h_tokens + message.cache_read_tokens as token_count,
    message.has_final_usage,
    message.session_id,
    message._version
from {{ ref('int_messages_enriched') }} as message
inner join touched on touched.session_id = message.session_id
inner join {{ ref('int_sessions_computed') }} as session on session.session_id = message.session_id
