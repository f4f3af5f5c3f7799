{#- What tokens cost: which price holds for a model at an instant, and exact sums of it. Prices are decimals per token
    from the start, so that no sum divides or rounds on the way. -#}

{#- Columns of the two price lists, in this order. -#}
{%- macro price_columns() -%}
{{ return([
    'model_pattern', 'valid_from', 'valid_to',
    'input_usd', 'output_usd', 'cache_write_5m_usd', 'cache_write_1h_usd', 'cache_read_usd',
    'long_context_tokens', 'long_input_usd', 'long_output_usd', 'long_cache_write_5m_usd', 'long_cache_write_1h_usd', 'long_cache_read_usd',
    'web_search_usd', 'source', 'checked_on'
]) }}
{%- endmacro -%}

{#- A model's name as the price list has it: without provider, date, version and context size. -#}
{%- macro price_name(model) -%}
coalesce(
        nullif({{ regex_remove(
            "regexp_extract(replace(lower(" ~ model ~ "), '.', '-'), '(claude-[a-z0-9-]*[a-z0-9])', 1)",
            '(-latest|-20[0-9]{6}|-v[0-9]+)+$'
        ) }}, ''),
        lower({{ model }})
    )
{%- endmacro -%}

{#- A price per million as one per token. -#}
{%- macro per_token(price_per_million) -%}
cast({{ price_per_million }} * 0.000001 as decimal(18, 12))
{%- endmacro -%}

{#- What so many cost; nothing costs nothing, even where the price is not known. -#}
{%- macro charge(count, price) -%}
case when {{ count }} = 0 then 0 else cast({{ count }} as decimal(12, 0)) * {{ price }} end
{%- endmacro -%}

{#- A mark of both price lists together: another one means that costs must be computed anew. -#}
{%- macro price_list_mark() -%}
(
        select coalesce(left(md5({{ join_texts('row_text', "','", 'row_text') }}), 8), 'none')
        from (
            {%- for list in ['model_prices', 'model_prices_override'] %}
            {{ 'union all' if not loop.first else '' }}
            select concat(
                '{{ list }}'
                {%- for column in price_columns() %}, ';', coalesce(cast({{ column }} as string), ''){% endfor -%}
            ) as row_text
            from {{ ref(list) }}
            {%- endfor %}
        ) as rows_of_lists
    )
{%- endmacro -%}
