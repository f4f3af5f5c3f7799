{#- Definitions the marts share. -#}

{#- The hour of dim_date an instant falls into, by the configured zone; NULL where the instant is unknown. -#}
{%- macro date_key(instant) -%}
case when {{ instant }} is not null then {{ dbt_utils.generate_surrogate_key([
    'cast(' ~ local_time(instant) ~ ' as date)',
    'cast(extract(hour from ' ~ local_time(instant) ~ ') as int)'
]) }} end
{%- endmacro -%}

{#- The key of a dimension's row, NULL where there is none to point to. -#}
{%- macro optional_key(column) -%}
case when {{ column }} is not null then {{ dbt_utils.generate_surrogate_key([column]) }} end
{%- endmacro -%}

{#- What a prompt asks for, by its words; where several fit, the first of this order. -#}
{%- macro task_category(prompt) -%}
case
    when {{ regex_matches('lower(' ~ prompt ~ ')', '\\b(bug|fix|error|issue|broken|failing|crash)\\b') }} then 'bug_fix'
    when {{ regex_matches('lower(' ~ prompt ~ ')', '\\b(add|create|implement|new|feature|build)\\b') }} then 'feature'
    when {{ regex_matches('lower(' ~ prompt ~ ')', '\\b(refactor|restructure|reorganize|clean up|simplify)\\b') }} then 'refactor'
    when {{ regex_matches('lower(' ~ prompt ~ ')', '\\b(test|spec|validat[a-z]*|verif[a-z]*)\\b') }} then 'testing'
    when {{ regex_matches('lower(' ~ prompt ~ ')', '\\b(doc|readme|comment|explain)\\b') }} then 'documentation'
    else 'other'
end
{%- endmacro -%}

{#- Whether a tool is one of an MCP server: mcp__<server>__<tool>, where both may hold single underscores. -#}
{%- macro is_mcp_tool(tool_name) -%}
{{ tool_name }} like 'mcp!_!_%' escape '!'
{%- endmacro -%}

{#- Why a tool call has an error, by the text it came with. -#}
{%- macro error_class(text) -%}
case
    when contains({{ text }}, 'The user doesn''t want to') or contains({{ text }}, 'User rejected tool use') then 'user_rejected'
    when contains({{ text }}, '[Request interrupted by user') then 'interrupted'
    when contains({{ text }}, 'No such tool available') then 'no_such_tool'
    when contains({{ text }}, 'Sibling tool call errored') then 'sibling_error'
    when contains({{ text }}, 'requested permissions to') then 'permission_denied'
    when contains({{ text }}, '<tool_use_error>') then 'invalid_input'
    when {{ regex_matches(text, '^[^a-zA-Z]*(type":"text","text":")?Exit code [0-9]') }} then 'exit_code'
    else 'other'
end
{%- endmacro -%}

{#- The folder a working directory belongs to: work trees count with the repository they were made from. -#}
{%- macro project_root(cwd) -%}
{{ regex_remove(cwd, '[/\\\\](\\.worktrees|\\.claude[/\\\\]worktrees)[/\\\\].*$') }}
{%- endmacro -%}

{#- The last part of a path, by either kind of separator. -#}
{%- macro base_name(path) -%}
regexp_extract(replace({{ path }}, chr(92), '/'), '([^/]+)/*$', 1)
{%- endmacro -%}

{#- A percentage; NULL where there is nothing to take it of. -#}
{%- macro percentage(part, whole) -%}
cast(100.0 * {{ part }} / nullif({{ whole }}, 0) as double)
{%- endmacro -%}

{#- A transcript's file name without its folder and ending: the session's id in all but sub-agents' files. -#}
{%- macro file_stem(path) -%}
regexp_extract(replace({{ path }}, chr(92), '/'), '([^/]+)[.]jsonl$', 1)
{%- endmacro -%}
