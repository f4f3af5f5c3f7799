{{ config(materialized='table') }}

with models as (

    select
        model,
        min(timestamp) as first_used,
        max(timestamp) as last_used,
        cast(count(*) as bigint) as total_responses,
        count(cost_usd) = count(*) as is_priced
    from {{ ref('fct_messages') }}
    where model is not null
    group by model

),

current_prices as (

    select model, model_pattern, is_override, source, checked_on
    from {{ ref('int_model_prices') }}
    where is_current

)

select
    {{ dbt_utils.generate_surrogate_key(['models.model']) }} as model_key,
    models.model,
    coalesce(nullif(regexp_extract(lower(models.model), '(opus|sonnet|haiku|fable|mythos)', 1), ''), 'other') as family,
    models.is_priced,
    current_prices.model_pattern as price_pattern,
    current_prices.is_override as is_own_price,
    current_prices.source as price_source,
    current_prices.checked_on as price_checked_on,
    models.first_used,
    models.last_used,
    models.total_responses
from models
left join current_prices on current_prices.model = models.model
