{{ config(materialized='table') }}

{#- Days without anything that are still filled in: a single wrong clock must not make a thousand empty years. -#}
{% set longest_gap = 366 %}

with instants as (

    select timestamp as instant from {{ ref('int_messages_enriched') }}
    union all
    select timestamp as instant from {{ ref('int_tool_usage') }}
    union all
    select start_time as instant from {{ ref('int_sessions_computed') }}

),

active_days as (

    select distinct cast({{ local_time('instant') }} as date) as date
    from instants
    where instant is not null

),

gaps as (

    select date, {{ days_between('date', 'lead(date) over (order by date)') }} as days_to_next
    from active_days

),

-- Each day something happened on, and the quiet days up to the next one.
days as (

    select {{ days_after('date', 'quiet_day') }} as date
    from (
        select date, {{ explode_range('case when days_to_next <= ' ~ longest_gap ~ ' then days_to_next else 1 end') }} as quiet_day
        from gaps
    )

),

hours as (

    select date, cast({{ explode_range(24) }} as int) as hour from days

)

select
    {{ dbt_utils.generate_surrogate_key(['date', 'hour']) }} as date_key,
    date,
    cast({{ iso_day_of_week('date') }} as int) as day_of_week,
    {{ day_name('date') }} as day_name,
    hour,
    {{ iso_day_of_week('date') }} >= 6 as is_weekend,
    cast(extract(week from date) as int) as week_of_year,
    cast(extract(month from date) as int) as month,
    cast(extract(quarter from date) as int) as quarter,
    cast(extract(year from date) as int) as year
from hours
