{#- A line diff of two texts, for edits that left no patch: how many lines the longest common subsequence
    leaves over on each side. Equal lines at both ends are trimmed first, so that the quadratic part sees only
    what differs. -#}

{#- Lines that two lists have in common at their start, and at their end after a prefix. -#}
{%- macro common_prefix(old, new) -%}{{ adapter.dispatch('common_prefix', 'cclake')(old, new) }}{%- endmacro -%}
{%- macro duckdb__common_prefix(old, new) -%}
coalesce(
    list_position(list_transform(range(1, least(len({{ old }}), len({{ new }})) + 1), lambda i: {{ old }}[i] = {{ new }}[i]), false) - 1,
    least(len({{ old }}), len({{ new }}))
)
{%- endmacro -%}

{%- macro common_suffix(old, new, prefix) -%}{{ adapter.dispatch('common_suffix', 'cclake')(old, new, prefix) }}{%- endmacro -%}
{%- macro duckdb__common_suffix(old, new, prefix) -%}
coalesce(
    list_position(list_transform(range(1, least(len({{ old }}), len({{ new }})) - {{ prefix }} + 1), lambda i: {{ old }}[-i] = {{ new }}[-i]), false) - 1,
    least(len({{ old }}), len({{ new }})) - {{ prefix }}
)
{%- endmacro -%}

{#- A list without so many elements at its start and end. -#}
{%- macro list_middle(list, prefix, suffix) -%}{{ adapter.dispatch('list_middle', 'cclake')(list, prefix, suffix) }}{%- endmacro -%}
{%- macro duckdb__list_middle(list, prefix, suffix) -%}{{ list }}[{{ prefix }} + 1 : len({{ list }}) - {{ suffix }}]{%- endmacro -%}

{#- Length of the longest common subsequence: the classic table, row by row. A row is a list whose element j + 1
    tells for the first j new lines; each old line folds into the next row. Time grows with old × new × new. -#}
{%- macro common_lines(old, new) -%}{{ adapter.dispatch('common_lines', 'cclake')(old, new) }}{%- endmacro -%}
{%- macro duckdb__common_lines(old, new) -%}
list_max(list_reduce(
    list_transform(range(1, len({{ old }}) + 1), lambda i: [i]),
    lambda above, i: list_reduce(
        list_transform(
            range(1, len({{ new }}) + 1),
            lambda j: [case when {{ old }}[i[1]] = {{ new }}[j] then above[j] + 1 else above[j + 1] end]
        ),
        lambda here, best: list_append(here, greatest(here[len(here)], best[1])),
        [0::bigint]
    ),
    list_transform(range(0, len({{ new }}) + 1), lambda j: 0::bigint)
))
{%- endmacro -%}
