{#- The JSON of a transcript as typed structs: each text is parsed once, and what has another type than
    expected is NULL, never an error. Dispatched, since engines name such shapes differently. -#}

{#- A message as the API gave it. `content` is NULL where it is plain text instead of a list of blocks. -#}
{%- macro parse_message(json) -%}{{ adapter.dispatch('parse_message', 'cclake')(json) }}{%- endmacro -%}
{%- macro duckdb__parse_message(json) -%}
from_json({{ json }}, '{
    "id": "varchar", "role": "varchar", "model": "varchar", "stop_reason": "varchar",
    "usage": {
        "input_tokens": "bigint", "output_tokens": "bigint",
        "cache_creation_input_tokens": "bigint", "cache_read_input_tokens": "bigint",
        "cache_creation": {"ephemeral_5m_input_tokens": "bigint", "ephemeral_1h_input_tokens": "bigint"},
        "server_tool_use": {"web_search_requests": "bigint"}
    },
    "content": [{{ duckdb_block_shape() }}]
}')
{%- endmacro -%}

{#- One content block standing alone, as the `tool_use` field of spec-shaped records holds it. -#}
{%- macro parse_block(json) -%}{{ adapter.dispatch('parse_block', 'cclake')(json) }}{%- endmacro -%}
{%- macro duckdb__parse_block(json) -%}from_json({{ json }}, '{{ duckdb_block_shape() }}'){%- endmacro -%}
{%- macro duckdb_block_shape() -%}
{"type": "varchar", "text": "varchar", "id": "varchar", "name": "varchar", "input": "json", "tool_use_id": "varchar", "content": "varchar", "is_error": "boolean"}
{%- endmacro -%}

{#- The blocks of a line, one NULL where it has none: those of its content (a NULL for plain text), then the block
    that stands alone. -#}
{%- macro message_blocks(content, message, spec_block, has_spec_block) -%}{{ adapter.dispatch('message_blocks', 'cclake')(content, message, spec_block, has_spec_block) }}{%- endmacro -%}
{%- macro duckdb__message_blocks(content, message, spec_block, has_spec_block) -%}
case
            when {{ has_spec_block }} and {{ content }} is not null then list_append({{ content }}, {{ spec_block }})
            when {{ has_spec_block }} and {{ message }} is not null then [null, {{ spec_block }}]
            when {{ has_spec_block }} then [{{ spec_block }}]
            when len({{ content }}) > 0 then {{ content }}
            else [null]
        end
{%- endmacro -%}

{#- The structured twin of a tool result, where it tells of a patch or of an agent: the others hold whole files and
    command outputs, which would take half of the time to parse and give nothing. -#}
{%- macro parse_tool_use_result(json) -%}{{ adapter.dispatch('parse_tool_use_result', 'cclake')(json) }}{%- endmacro -%}
{%- macro duckdb__parse_tool_use_result(json) -%}
from_json(
    case when contains({{ json }}, '"structuredPatch"') or contains({{ json }}, '"agentId"') then {{ json }} end, '{
    "type": "varchar", "content": "varchar", "agentId": "varchar",
    "structuredPatch": [{"lines": ["varchar"]}]
}')
{%- endmacro -%}

{#- A sub-agent's progress tick; NULL where there is none. -#}
{%- macro parse_agent_progress(json) -%}{{ adapter.dispatch('parse_agent_progress', 'cclake')(json) }}{%- endmacro -%}
{%- macro duckdb__parse_agent_progress(json) -%}
from_json({{ json }}, '{"agentId": "varchar", "message": {{ duckdb_tick_shape() }}, "normalizedMessages": [{{ duckdb_tick_shape() }}]}')
{%- endmacro -%}
{%- macro duckdb_tick_shape() -%}
{"type": "varchar", "uuid": "varchar", "timestamp": "varchar", "message": "json", "toolUseResult": "json"}
{%- endmacro -%}
{#- The messages inside a tick. Without one it must be a list of one NULL, since every other record passes here too. -#}
{%- macro tick_messages(tick) -%}{{ adapter.dispatch('tick_messages', 'cclake')(tick) }}{%- endmacro -%}
{%- macro duckdb__tick_messages(tick) -%}list_prepend({{ tick }}.message, {{ tick }}.normalizedMessages){%- endmacro -%}

{#- What the file tools are asked to do. -#}
{%- macro parse_file_input(json) -%}{{ adapter.dispatch('parse_file_input', 'cclake')(json) }}{%- endmacro -%}
{%- macro duckdb__parse_file_input(json) -%}
from_json({{ json }}, '{
    "file_path": "varchar", "notebook_path": "varchar", "content": "varchar", "new_source": "varchar",
    "old_string": "varchar", "new_string": "varchar", "replace_all": "boolean",
    "edits": [{"old_string": "varchar", "new_string": "varchar", "replace_all": "boolean"}]
}')
{%- endmacro -%}

{#- Lines of a structured patch that start with the sign; NULL where there is no patch. -#}
{%- macro patch_lines(patch, sign) -%}{{ adapter.dispatch('patch_lines', 'cclake')(patch, sign) }}{%- endmacro -%}
{%- macro duckdb__patch_lines(patch, sign) -%}
len(list_filter(flatten(list_transform({{ patch }}, lambda hunk: coalesce(hunk.lines, []))), lambda line: line[1] = '{{ sign }}'))
{%- endmacro -%}

{#- Text a person wrote, as opposed to what Claude Code puts into a user message by itself. -#}
{%- macro is_typed_by_human(text) -%}
{%- set beginnings = [
    '<command-name>', '<command-message>', '<local-command-stdout>', '<local-command-caveat>',
    '<bash-input>', '<bash-stdout>', '<bash-stderr>', '<task-notification>', '<system-reminder>', '<ide',
    '\\[Request interrupted by user', 'Caveat:', 'This session is being continued'
] -%}
not {{ regex_matches(text, '^\\s*(' ~ (beginnings | join('|')) ~ ')') }}
{%- endmacro -%}

{#- The session a raw record says it belongs to. A message without one is counted in that of its file. -#}
{%- macro session_of_record(carries_message) -%}
coalesce(
            nullif(session_id, ''),
            case when {{ carries_message }} then nullif({{ file_stem('source_file') }}, '') end
        )
{%- endmacro -%}

{#- What every entry repeats of its raw record. -#}
{%- macro envelope(session='session_id') -%}
{{ session }} as session_id, project_path, parent_uuid, logical_parent_uuid, leaf_uuid,
        request_id, agent_id, is_sidechain, is_meta, is_compact_summary, is_api_error, subtype, version, git_branch,
        permission_mode, summary, content, source_file, source_offset, machine, user_name, _op,
        _load_seq
{%- endmacro -%}

{#- A token count as given, unless absurd: sums of a billion of them must fit. -#}
{%- macro sane_tokens(count) -%}
case when {{ count }} between 0 and 1000000000 then {{ count }} end
{%- endmacro -%}

{#- Whether a raw record is a sub-agent's progress. -#}
{%- macro is_agent_tick() -%}
coalesce(type = 'progress' and contains(data, '"agent_progress"'), false)
{%- endmacro -%}

{#- One message in one place: a record may hold several, where it is a progress tick. -#}
{%- macro line_id(entry) -%}
concat({{ entry }}.record_id, '_', {{ entry }}.message_index)
{%- endmacro -%}

{#- Claude Code's note that the user stopped it. -#}
{%- macro is_interruption(text) -%}
{{ text }} like '[Request interrupted by user%'
{%- endmacro -%}

{#- Of the places that tell the same thing, the one to believe: a transcript before a progress tick, then the earliest. -#}
{%- macro most_original() -%}
seen_in desc, timestamp nulls last, source_file, source_offset
{%- endmacro -%}

{#- The API response a line belongs to; lines without an id are responses of their own. -#}
{%- macro response_id(line) -%}
coalesce({{ line }}.message_id, {{ line }}.uuid, {{ line }}.line_id)
{%- endmacro -%}

{#- Cache writes by lifetime; the flat count that older versions give alone is the five-minute one's. -#}
{%- macro cache_write_1h_tokens(usage) -%}
coalesce({{ sane_tokens(usage ~ '.cache_creation.ephemeral_1h_input_tokens') }}, 0)
{%- endmacro -%}
{%- macro cache_write_5m_tokens(usage) -%}
greatest(
        coalesce({{ sane_tokens(usage ~ '.cache_creation.ephemeral_5m_input_tokens') }}, 0),
        coalesce({{ sane_tokens(usage ~ '.cache_creation_input_tokens') }}, 0) - {{ cache_write_1h_tokens(usage) }}
    )
{%- endmacro -%}
