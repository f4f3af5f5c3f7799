{#- What SQL dialects say differently: one dispatched macro per need, so that another engine is one more body each.
    Only DuckDB's bodies exist. Everything a model says outside these macros means the same in Spark SQL. -#}

{#- ---- types and time ---- -#}

{#- The type of a UTC instant. -#}
{%- macro instant_type() -%}{{ adapter.dispatch('instant_type', 'cclake')() }}{%- endmacro -%}
{%- macro duckdb__instant_type() -%}timestamptz{%- endmacro -%}

{#- The wall clock of the configured zone at an instant. -#}
{%- macro local_time(instant) -%}{{ adapter.dispatch('local_time', 'cclake')(instant) }}{%- endmacro -%}
{%- macro duckdb__local_time(instant) -%}timezone('{{ var("timezone") }}', {{ instant }}){%- endmacro -%}

{#- Milliseconds since 1970; differences of instants are differences of these. -#}
{%- macro epoch_millis(instant) -%}{{ adapter.dispatch('epoch_millis', 'cclake')(instant) }}{%- endmacro -%}
{%- macro duckdb__epoch_millis(instant) -%}epoch_ms({{ instant }}){%- endmacro -%}

{#- ISO day of week, 1 = Monday. -#}
{%- macro iso_day_of_week(day) -%}{{ adapter.dispatch('iso_day_of_week', 'cclake')(day) }}{%- endmacro -%}
{%- macro duckdb__iso_day_of_week(day) -%}isodow({{ day }}){%- endmacro -%}

{#- Days from one date to a later one. -#}
{%- macro days_between(first, second) -%}
{{ integer_division(epoch_millis('cast(' ~ second ~ ' as timestamp)') ~ ' - ' ~ epoch_millis('cast(' ~ first ~ ' as timestamp)'), 86400000) }}
{%- endmacro -%}

{#- The date so many days later. -#}
{%- macro days_after(day, days) -%}{{ adapter.dispatch('days_after', 'cclake')(day, days) }}{%- endmacro -%}
{%- macro duckdb__days_after(day, days) -%}{{ day }} + cast({{ days }} as int){%- endmacro -%}

{%- macro day_name(day) -%}{{ adapter.dispatch('day_name', 'cclake')(day) }}{%- endmacro -%}
{%- macro duckdb__day_name(day) -%}dayname({{ day }}){%- endmacro -%}

{#- Whole quotient, rounded towards zero. -#}
{%- macro integer_division(number, divisor) -%}{{ adapter.dispatch('integer_division', 'cclake')(number, divisor) }}{%- endmacro -%}
{%- macro duckdb__integer_division(number, divisor) -%}({{ number }}) // ({{ divisor }}){%- endmacro -%}

{#- ---- text ---- -#}

{#- Whether the pattern matches anywhere in the text. -#}
{%- macro regex_matches(text, pattern) -%}{{ adapter.dispatch('regex_matches', 'cclake')(text, pattern) }}{%- endmacro -%}
{%- macro duckdb__regex_matches(text, pattern) -%}regexp_matches({{ text }}, '{{ pattern }}'){%- endmacro -%}

{#- The text without everything the pattern matches. -#}
{%- macro regex_remove(text, pattern) -%}{{ adapter.dispatch('regex_remove', 'cclake')(text, pattern) }}{%- endmacro -%}
{%- macro duckdb__regex_remove(text, pattern) -%}regexp_replace({{ text }}, '{{ pattern }}', '', 'g'){%- endmacro -%}

{#- The pieces of a text between line feeds; a last line feed ends a line and starts none. -#}
{%- macro text_lines(text) -%}{{ adapter.dispatch('text_lines', 'cclake')(text) }}{%- endmacro -%}
{%- macro duckdb__text_lines(text) -%}case when {{ text }} = '' then [] else string_split(regexp_replace({{ text }}, '\n$', ''), chr(10)) end{%- endmacro -%}

{#- Texts of a group joined in an order. -#}
{%- macro join_texts(text, separator, order_by) -%}{{ adapter.dispatch('join_texts', 'cclake')(text, separator, order_by) }}{%- endmacro -%}
{%- macro duckdb__join_texts(text, separator, order_by) -%}string_agg({{ text }}, {{ separator }} order by {{ order_by }}){%- endmacro -%}

{#- Bytes of a text in UTF-8. -#}
{%- macro byte_length(text) -%}{{ adapter.dispatch('byte_length', 'cclake')(text) }}{%- endmacro -%}
{%- macro duckdb__byte_length(text) -%}strlen({{ text }}){%- endmacro -%}

{#- ---- lists ---- -#}

{%- macro list_length(list) -%}{{ adapter.dispatch('list_length', 'cclake')(list) }}{%- endmacro -%}
{%- macro duckdb__list_length(list) -%}len({{ list }}){%- endmacro -%}

{#- The element at a position counted from 0; NULL where there is none. -#}
{%- macro list_element(list, position) -%}{{ adapter.dispatch('list_element', 'cclake')(list, position) }}{%- endmacro -%}
{%- macro duckdb__list_element(list, position) -%}{{ list }}[{{ position }} + 1]{%- endmacro -%}

{#- Two select items: one row per element of the list, and its position counted from 0. -#}
{%- macro explode_with_position(list, item, position) -%}{{ adapter.dispatch('explode_with_position', 'cclake')(list, item, position) }}{%- endmacro -%}
{%- macro duckdb__explode_with_position(list, item, position) -%}
unnest({{ list }}) as {{ item }}, generate_subscripts({{ list }}, 1) - 1 as {{ position }}
{%- endmacro -%}

{#- One select item: one row per element of the list. -#}
{%- macro explode(list) -%}{{ adapter.dispatch('explode', 'cclake')(list) }}{%- endmacro -%}
{%- macro duckdb__explode(list) -%}unnest({{ list }}){%- endmacro -%}

{#- One select item: rows numbered 0 to n - 1. -#}
{%- macro explode_range(n) -%}{{ adapter.dispatch('explode_range', 'cclake')(n) }}{%- endmacro -%}
{%- macro duckdb__explode_range(n) -%}unnest(range({{ n }})){%- endmacro -%}

{#- ---- JSON ---- -#}

{#- The text at a JSON path; numbers and objects as their JSON text. -#}
{%- macro json_text(json, path) -%}{{ adapter.dispatch('json_text', 'cclake')(json, path) }}{%- endmacro -%}
{%- macro duckdb__json_text(json, path) -%}json_extract_string({{ json }}, {{ path }}){%- endmacro -%}

{#- Several columns as one value to order by, the first weighing most; none of them may be NULL. -#}
{%- macro ordering(columns) -%}{{ adapter.dispatch('ordering', 'cclake')(columns) }}{%- endmacro -%}
{%- macro duckdb__ordering(columns) -%}row({{ columns | join(', ') }}){%- endmacro -%}
