-- What an incremental build keeps was computed with its session's last change: a model without `remove_stale_rows` would fail.
{% for model in [
    'stg_line_copies', 'stg_messages', 'stg_tool_calls',
    'int_messages_enriched', 'int_tool_usage', 'int_sessions_computed',
    'fct_messages', 'fct_tool_calls', 'fct_file_operations'
] %}
{%- if not loop.first %}
union all
{% endif -%}
select '{{ model }}' as model, row.session_id
from {{ ref(model) }} as row
inner join {{ ref('int_session_versions') }} as session on session.session_id = row.session_id
where session.version <> row._version
{%- endfor %}
