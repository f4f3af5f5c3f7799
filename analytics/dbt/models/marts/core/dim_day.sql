{{ config(materialized='view') }}

select date, day_of_week, day_name, is_weekend, week_of_year, month, quarter, year
from {{ ref('dim_date') }}
where hour = 0
