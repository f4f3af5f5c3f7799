{{ config(materialized='table') }}

-- Responses that stand in a session, by whatever line, but count for another one.
with shown as (

    select
        copy.session_id,
        {{ response_id('line') }} as response_id
    from {{ ref('stg_copy_bridge') }} as copy
    inner join {{ ref('stg_messages') }} as line on line.line_id = copy.original_line_id
    where copy.session_id <> copy.original_session_id
        and copy.copy_kind <> 'progress'
        and line.role = 'assistant'

    union

    -- Lines of one response that were written as events of their own.
    select session_id, message_id as response_id
    from {{ ref('stg_messages') }}
    where role = 'assistant'
        and seen_in = 'transcript'
        and message_id in (
            select message_id
            from {{ ref('stg_messages') }}
            where role = 'assistant' and message_id is not null
            group by message_id
            having min(session_id) <> max(session_id)
        )

),

copied as (

    select
        shown.session_id,
        count(*) as copied_responses,
        sum(fact.token_count) as token_count,
        sum(fact.cost_usd) as cost_usd
    from shown
    inner join {{ ref('int_messages_enriched') }} as message
        on message.natural_key = shown.response_id and message.role = 'assistant'
    inner join {{ ref('fct_messages') }} as fact on fact.message_id = message.message_id
    where message.session_id <> shown.session_id
    group by shown.session_id

)

select
    session.session_key,
    session.session_id,
    session.project_key,
    cast(copied.copied_responses as bigint) as copied_responses,
    cast(copied.token_count as bigint) as token_count,
    cast(coalesce(copied.cost_usd, 0) as decimal(24, 12)) as cost_usd
from copied
inner join {{ ref('dim_sessions') }} as session on session.session_id = copied.session_id
