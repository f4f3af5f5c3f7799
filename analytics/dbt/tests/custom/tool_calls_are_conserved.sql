-- Every tool use is one fact, and adds up by session and by day.
with totals as (

    select
        (select count(*) from {{ ref('stg_tool_calls') }}) as staged,
        (select count(*) from {{ ref('fct_tool_calls') }}) as in_facts,
        (select coalesce(sum(total_tool_calls), 0) from {{ ref('agg_session_metrics') }}) as by_session,
        (select coalesce(sum(total_tool_calls), 0) from {{ ref('agg_daily_summary') }})
            + (select count(*) from {{ ref('fct_tool_calls') }} where date_key is null) as by_day

)

select * from totals
where staged <> in_facts or in_facts <> by_session or in_facts <> by_day
