{{ config(materialized='table') }}

with costs as (

    select
        session_key,
        sum(cost_usd) as cost_usd,
        sum(cache_savings_usd) as cache_savings_usd,
        count(*) filter (where cost_usd is null) as unpriced_responses
    from {{ ref('fct_messages') }}
    group by session_key

)

select
    dim.session_key,
    dim.session_id,
    dim.project_key,
    project.project_name,
    session.date_key,
    dim.duration_seconds,
    cast(dim.duration_seconds / 60.0 as double) as duration_minutes,
    dim.active_seconds,
    cast(session.human_messages as bigint) as human_messages,
    cast(session.assistant_messages as bigint) as assistant_messages,
    dim.message_count as total_messages,
    dim.turns,
    cast(session.tool_calls as bigint) as total_tool_calls,
    cast(session.successful_tool_calls as bigint) as successful_tool_calls,
    {{ percentage('session.successful_tool_calls', '(session.successful_tool_calls + session.failed_tool_calls)') }} as tool_success_rate,
    cast(session.total_content_length as bigint) as total_content_length,
    cast(session.total_content_length as double) / nullif(dim.message_count, 0) as avg_message_length,
    cast(session.files_modified as bigint) as files_modified,
    cast(session.edits as bigint) as edits,
    cast(3600.0 * session.edits / nullif(dim.duration_seconds, 0) as double) as edits_per_hour,
    cast(session.lines_added + session.lines_removed as bigint) as lines_changed,
    cast(session.token_count as bigint) as token_count,
    cast(coalesce(costs.cost_usd, 0) as decimal(24, 12)) as cost_usd,
    cast(coalesce(costs.cache_savings_usd, 0) as decimal(24, 12)) as cache_savings_usd,
    cast(coalesce(costs.unpriced_responses, 0) as bigint) as unpriced_responses,
    dim.outcome
from {{ ref('dim_sessions') }} as dim
inner join {{ ref('int_sessions_computed') }} as session on session.session_id = dim.session_id
inner join {{ ref('dim_projects') }} as project on project.project_key = dim.project_key
left join costs on costs.session_key = dim.session_key
