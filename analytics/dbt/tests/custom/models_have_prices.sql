{{ config(severity='warn') }}

-- Models without a price have no cost. Name their prices in model_prices_override (cclake: the setting `prices`).
select
    model,
    count(*) as responses,
    sum(token_count) as token_count
from {{ ref('fct_messages') }}
where cost_usd is null
group by model
