{% snapshot dim_models_snapshot %}

{{ config(
    schema='snapshots',
    unique_key='model_key',
    strategy='check'
) }}

select model_key, model, family, is_priced, price_pattern, is_own_price, price_source, price_checked_on
from {{ ref('dim_models') }}

{% endsnapshot %}
