-- Every cost adds up by session, by day and by hour.
with totals as (

    select
        (select coalesce(sum(cost_usd), 0) from {{ ref('fct_messages') }}) as in_facts,
        (select coalesce(sum(cost_usd), 0) from {{ ref('fct_messages') }} where date_key is null) as without_day,
        (select coalesce(sum(cost_usd), 0) from {{ ref('agg_session_metrics') }}) as by_session,
        (select coalesce(sum(cost_usd), 0) from {{ ref('agg_daily_summary') }}) as by_day,
        (select coalesce(sum(cost_usd), 0) from {{ ref('agg_hourly_activity') }}) as by_hour

)

select * from totals
where in_facts <> by_session or in_facts <> by_day + without_day or in_facts <> by_hour + without_day
