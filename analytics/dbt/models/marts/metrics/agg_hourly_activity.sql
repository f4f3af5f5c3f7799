{{ config(materialized='table') }}

with messages as (

    select
        date_key,
        count(distinct session_key) as active_sessions,
        count(*) filter (where role = 'human') as human_messages,
        count(*) filter (where role = 'assistant') as assistant_messages,
        sum(token_count) as token_count,
        sum(cost_usd) as cost_usd
    from {{ ref('fct_messages') }}
    where date_key is not null
    group by date_key

),

tool_calls as (

    select date_key, count(*) as tool_calls
    from {{ ref('fct_tool_calls') }}
    where date_key is not null
    group by date_key

)

select
    hours.date_key,
    hours.date,
    hours.hour,
    hours.day_of_week,
    cast(coalesce(messages.active_sessions, 0) as bigint) as active_sessions,
    cast(coalesce(messages.human_messages, 0) as bigint) as human_messages,
    cast(coalesce(messages.assistant_messages, 0) as bigint) as assistant_messages,
    cast(coalesce(tool_calls.tool_calls, 0) as bigint) as total_tool_calls,
    cast(coalesce(messages.token_count, 0) as bigint) as token_count,
    cast(coalesce(messages.cost_usd, 0) as decimal(24, 12)) as cost_usd
from {{ ref('dim_date') }} as hours
left join messages on messages.date_key = hours.date_key
left join tool_calls on tool_calls.date_key = hours.date_key
where messages.date_key is not null
    or tool_calls.date_key is not null
