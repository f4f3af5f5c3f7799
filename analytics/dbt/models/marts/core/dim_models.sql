{{ config(materialized='table') }}

with models as (

    select distinct model from {{ ref('int_messages_enriched') }} where model is not null

)

select
    {{ dbt_utils.generate_surrogate_key(['model']) }} as model_key,
    model,
    coalesce(nullif(regexp_extract(lower(model), '(opus|sonnet|haiku)', 1), ''), 'other') as family
from models
