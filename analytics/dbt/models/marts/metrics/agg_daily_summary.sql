{{ config(materialized='table') }}

with messages as (

    select
        hours.date,
        count(distinct message.session_key) as active_sessions,
        count(distinct message.project_key) as active_projects,
        count(*) filter (where message.role = 'human') as human_messages,
        count(*) filter (where message.role = 'assistant') as assistant_messages,
        sum(message.input_tokens) as input_tokens,
        sum(message.output_tokens) as output_tokens,
        sum(message.cache_write_5m_tokens) as cache_write_5m_tokens,
        sum(message.cache_write_1h_tokens) as cache_write_1h_tokens,
        sum(message.cache_read_tokens) as cache_read_tokens,
        sum(message.token_count) as token_count,
        sum(message.web_search_requests) as web_search_requests,
        sum(message.cost_usd) as cost_usd,
        sum(message.cost_usd) filter (where message.is_sidechain) as sub_agent_cost_usd,
        sum(message.cache_savings_usd) as cache_savings_usd,
        count(*) filter (where message.cost_usd is null) as unpriced_responses
    from {{ ref('fct_messages') }} as message
    inner join {{ ref('dim_date') }} as hours on hours.date_key = message.date_key
    group by hours.date

),

tool_calls as (

    select
        hours.date,
        count(*) as tool_calls,
        count(*) filter (where call.is_success) as successful_tool_calls,
        count(*) filter (where not call.is_success) as failed_tool_calls,
        count(*) filter (where call.is_rejected) as rejected_tool_calls
    from {{ ref('fct_tool_calls') }} as call
    inner join {{ ref('dim_date') }} as hours on hours.date_key = call.date_key
    group by hours.date

),

changes as (

    select
        hours.date,
        count(distinct case when operation.operation_type <> 'read' then operation.file_path end) as files_modified,
        sum(operation.lines_added) as lines_added,
        sum(operation.lines_removed) as lines_removed
    from {{ ref('fct_file_operations') }} as operation
    inner join {{ ref('dim_date') }} as hours on hours.date_key = operation.date_key
    group by hours.date

),

active_hours as (

    select date, count(*) as active_hours
    from {{ ref('agg_hourly_activity') }}
    group by date

),

-- Sessions by the day they started; one that holds nothing that was said can neither be completed nor not.
sessions as (

    select
        hours.date,
        count(*) as sessions_started,
        count(*) filter (where session.outcome <> 'empty') as sessions_with_an_end,
        count(*) filter (where session.outcome = 'completed') as sessions_completed
    from {{ ref('int_sessions_computed') }} as session
    inner join {{ ref('dim_date') }} as hours on hours.date_key = session.date_key
    group by hours.date

),

switches as (

    select date, count(*) filter (where project_key <> project_before) as context_switches
    from (
        select
            hours.date,
            prompt.project_key,
            lag(prompt.project_key) over (partition by hours.date order by prompt.timestamp, prompt.message_id) as project_before
        from {{ ref('fct_messages') }} as prompt
        inner join {{ ref('dim_date') }} as hours on hours.date_key = prompt.date_key
        where prompt.role = 'human'
    )
    group by date

)

select
    day.date,
    cast(coalesce(messages.active_sessions, 0) as bigint) as active_sessions,
    cast(coalesce(messages.active_projects, 0) as bigint) as active_projects,
    cast(coalesce(active_hours.active_hours, 0) as bigint) as active_hours,
    cast(coalesce(switches.context_switches, 0) as bigint) as context_switches,
    cast(coalesce(sessions.sessions_started, 0) as bigint) as sessions_started,
    cast(coalesce(sessions.sessions_completed, 0) as bigint) as sessions_completed,
    {{ percentage('sessions.sessions_completed', 'sessions.sessions_with_an_end') }} as task_completion_rate,
    cast(coalesce(messages.human_messages, 0) as bigint) as human_messages,
    cast(coalesce(messages.assistant_messages, 0) as bigint) as assistant_messages,
    cast(coalesce(messages.human_messages + messages.assistant_messages, 0) as bigint) as total_messages,
    cast(coalesce(tool_calls.tool_calls, 0) as bigint) as total_tool_calls,
    cast(coalesce(tool_calls.successful_tool_calls, 0) as bigint) as successful_tool_calls,
    cast(coalesce(tool_calls.failed_tool_calls, 0) as bigint) as failed_tool_calls,
    cast(coalesce(tool_calls.rejected_tool_calls, 0) as bigint) as rejected_tool_calls,
    {{ percentage('tool_calls.successful_tool_calls', '(tool_calls.successful_tool_calls + tool_calls.failed_tool_calls)') }} as tool_success_rate,
    cast(coalesce(changes.files_modified, 0) as bigint) as files_modified,
    cast(coalesce(changes.lines_added, 0) as bigint) as lines_added,
    cast(coalesce(changes.lines_removed, 0) as bigint) as lines_removed,
    cast(coalesce(messages.input_tokens, 0) as bigint) as input_tokens,
    cast(coalesce(messages.output_tokens, 0) as bigint) as output_tokens,
    cast(coalesce(messages.cache_write_5m_tokens, 0) as bigint) as cache_write_5m_tokens,
    cast(coalesce(messages.cache_write_1h_tokens, 0) as bigint) as cache_write_1h_tokens,
    cast(coalesce(messages.cache_read_tokens, 0) as bigint) as cache_read_tokens,
    cast(coalesce(messages.token_count, 0) as bigint) as token_count,
    {{ percentage('messages.cache_read_tokens', '(messages.cache_read_tokens + messages.input_tokens)') }} as cache_hit_rate,
    {{ percentage(
        'messages.cache_read_tokens',
        '(messages.cache_read_tokens + messages.cache_write_5m_tokens + messages.cache_write_1h_tokens + messages.input_tokens)'
    ) }} as cache_hit_rate_of_all,
    cast(coalesce(messages.web_search_requests, 0) as bigint) as web_search_requests,
    cast(coalesce(messages.cost_usd, 0) as decimal(24, 12)) as cost_usd,
    cast(coalesce(messages.sub_agent_cost_usd, 0) as decimal(24, 12)) as sub_agent_cost_usd,
    cast(coalesce(messages.cache_savings_usd, 0) as decimal(24, 12)) as cache_savings_usd,
    cast(coalesce(messages.unpriced_responses, 0) as bigint) as unpriced_responses
from {{ ref('dim_day') }} as day
left join messages on messages.date = day.date
left join tool_calls on tool_calls.date = day.date
left join changes on changes.date = day.date
left join active_hours on active_hours.date = day.date
left join sessions on sessions.date = day.date
left join switches on switches.date = day.date
where messages.date is not null
    or tool_calls.date is not null
    or sessions.date is not null
