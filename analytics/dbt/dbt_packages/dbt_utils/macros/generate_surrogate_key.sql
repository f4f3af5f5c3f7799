{#- One key from several columns: md5 over their text joined by '-', NULL having a text of its own.
    The same formula as dbt_utils 1.x, so that the real package gives the same keys. -#}
{%- macro generate_surrogate_key(field_list) -%}
    {%- set parts = [] -%}
    {%- for field in field_list -%}
        {%- if not loop.first %}{% do parts.append("'-'") %}{% endif -%}
        {%- do parts.append("coalesce(cast(" ~ field ~ " as string), '_dbt_utils_surrogate_key_null_')") -%}
    {%- endfor -%}
    md5(cast({{ parts | join(' || ') }} as string))
{%- endmacro -%}
