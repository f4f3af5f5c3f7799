{{ config(materialized='incremental', unique_key='message_id', post_hook="{{ remove_stale_rows() }}") }}

{%- set classes = ['input', 'output', 'cache_write_5m', 'cache_write_1h', 'cache_read'] %}

with touched as (

    {{ touched_sessions() }}
    {%- if is_incremental() %}
        -- Other prices change every cost.
        or exists (select 1 from {{ this }} where _price_list <> {{ price_list_mark() }})
    {%- endif %}

),

messages as (

    select
        message.*,
        session.project_path,
        message.input_tokens + message.cache_write_5m_tokens + message.cache_write_1h_tokens
            + message.cache_read_tokens as context_tokens
    from {{ ref('int_messages_enriched') }} as message
    inner join touched on touched.session_id = message.session_id
    inner join {{ ref('int_sessions_computed') }} as session on session.session_id = message.session_id

),

-- The prices of the instant; without one, those of today. A long context has prices of its own for all of a response.
priced as (

    select
        message.*,
        price.price_key is not null or message.role = 'human' as has_price,
        {%- for class in classes %}
        case
            when message.context_tokens > price.long_context_tokens then price.long_{{ class }}_price
            else price.{{ class }}_price
        end as {{ class }}_price,
        {%- endfor %}
        price.web_search_price
    from messages as message
    left join {{ ref('int_model_prices') }} as price
        on price.model = message.model
        and case
            when message.timestamp is null then price.is_current
            else {{ epoch_millis('message.timestamp') }} >= price.from_ms and {{ epoch_millis('message.timestamp') }} < price.to_ms
        end

)

select
    message_id,
    {{ dbt_utils.generate_surrogate_key(['session_id']) }} as session_key,
    {{ dbt_utils.generate_surrogate_key(['project_path']) }} as project_key,
    date_key,
    {{ optional_key('model') }} as model_key,
    model,
    role,
    is_sidechain,
    seen_in,
    git_branch,
    turn_number,
    content_length,
    task_category,
    timestamp,
    {% for class in classes -%}
    {{ class }}_tokens,
    {% endfor -%}
    input_tokens + output_tokens + cache_write_5m_tokens + cache_write_1h_tokens + cache_read_tokens as token_count,
    web_search_requests,
    has_final_usage,
    cast(
        case when has_price then
            {%- for class in classes %}
            {{ charge(class ~ '_tokens', class ~ '_price') }} +
            {%- endfor %}
            {{ charge('web_search_requests', 'web_search_price') }}
        end as decimal(24, 12)
    ) as cost_usd,
    -- What the cached tokens would have cost as plain input, less what they cost.
    cast(
        case when has_price then
            {%- for class in ['cache_read', 'cache_write_5m', 'cache_write_1h'] %}
            {{ '+ ' if not loop.first else '' }}{{ charge(class ~ '_tokens', '(input_price - ' ~ class ~ '_price)') }}
            {%- endfor %}
        end as decimal(24, 12)
    ) as cache_savings_usd,
    {{ price_list_mark() }} as _price_list,
    session_id,
    _version
from priced
