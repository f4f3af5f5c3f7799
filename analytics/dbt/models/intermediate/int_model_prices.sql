{{ config(materialized='table') }}

{#- Instants before and after all others, in milliseconds since 1970. -#}
{% set beginning = -1000000000000000 %}
{% set end = 1000000000000000 %}

with models as (

    select model, {{ price_name('model') }} as price_name
    from (select distinct model from {{ ref('int_messages_enriched') }} where model is not null)

),

offers as (

    {% for list in ['model_prices', 'model_prices_override'] %}
    {{ 'union all' if not loop.first else '' }}
    select
        {{ price_columns() | join(', ') }},
        {{ loop.index0 }} as rank,
        coalesce({{ epoch_millis('cast(valid_from as timestamp)') }}, {{ beginning }}) as from_ms,
        coalesce({{ epoch_millis('cast(valid_to as timestamp)') }}, {{ end }}) as to_ms
    from {{ ref(list) }}
    {% endfor %}

),

-- A user's own price wins, then the longer pattern, then the later one.
matches as (

    select
        models.model,
        offers.*,
        row_number() over (
            partition by models.model
            order by offers.rank desc, length(offers.model_pattern) desc, offers.from_ms desc, offers.to_ms, offers.model_pattern, offers.source
        ) as preference
    from models
    inner join offers
        on models.price_name like lower(offers.model_pattern) or lower(models.model) like lower(offers.model_pattern)

),

boundaries as (

    select model, from_ms as boundary from matches
    union
    select model, to_ms as boundary from matches

),

periods as (

    select
        model,
        boundary as from_ms,
        lead(boundary) over (partition by model order by boundary) as to_ms
    from boundaries

),

-- Between two boundaries the same prices hold throughout, so that periods of one model never overlap.
chosen as (

    select periods.model, periods.from_ms, periods.to_ms, min(matches.preference) as preference
    from periods
    inner join matches
        on matches.model = periods.model
        and matches.from_ms <= periods.from_ms
        and matches.to_ms >= periods.to_ms
    group by periods.model, periods.from_ms, periods.to_ms

)

select
    {{ dbt_utils.generate_surrogate_key(['chosen.model', 'chosen.from_ms']) }} as price_key,
    chosen.model,
    matches.model_pattern,
    matches.rank = 1 as is_override,
    chosen.from_ms,
    chosen.to_ms,
    chosen.to_ms = {{ end }} as is_current,
    {% for name in ['input', 'output', 'cache_write_5m', 'cache_write_1h', 'cache_read'] %}
    {{ per_token('matches.' ~ name ~ '_usd') }} as {{ name }}_price,
    {{ per_token('matches.long_' ~ name ~ '_usd') }} as long_{{ name }}_price,
    {% endfor %}
    matches.long_context_tokens,
    cast(matches.web_search_usd * 0.001 as decimal(18, 12)) as web_search_price,
    matches.source,
    matches.checked_on
from chosen
inner join matches on matches.model = chosen.model and matches.preference = chosen.preference
