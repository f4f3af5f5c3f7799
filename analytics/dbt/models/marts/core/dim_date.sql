{{ config(materialized='table') }}

-- All hours of every day something happened on: a single wrong clock must not make a thousand empty years.
with instants as (

    select timestamp as instant from {{ ref('int_messages_enriched') }}
    union all
    select timestamp as instant from {{ ref('int_tool_usage') }}
    union all
    select start_time as instant from {{ ref('int_sessions_computed') }}

),

days as (

    select distinct cast({{ local_time('instant') }} as date) as date
    from instants
    where instant is not null

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
