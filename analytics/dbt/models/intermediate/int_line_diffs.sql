{{ config(materialized='incremental', unique_key='tool_use_id', post_hook="{{ remove_stale_rows() }}") }}

{#- Cells of a diff table above which lines are only counted as a multiset: moved lines then look unchanged. -#}
{% set max_cells = 10000 %}

with touched as (

    {{ touched_sessions() }}

),

-- Sub-agents' results mostly come without a structured patch; what they asked for has to do.
unpatched as (

    select
        calls.tool_use_id,
        calls.session_id,
        {{ parse_file_input('calls.tool_input') }} as asked,
        touched.version
    from {{ ref('stg_tool_calls') }} as calls
    inner join touched on touched.session_id = calls.session_id
    where calls.tool_name in ('Edit', 'MultiEdit')
        and calls.has_result
        and not calls.is_error
        and calls.patch_lines_added is null

),

edits as (

    select tool_use_id, 0 as edit_number, asked.old_string as old_text, asked.new_string as new_text
    from unpatched
    where asked.old_string is not null or asked.new_string is not null
    union all
    select tool_use_id, edit_number + 1 as edit_number, edit.old_string as old_text, edit.new_string as new_text
    from (
        select tool_use_id, {{ explode_with_position('asked.edits', 'edit', 'edit_number') }}
        from unpatched
    )

),

texts as (

    select
        tool_use_id,
        edit_number,
        {{ text_lines("coalesce(old_text, '')") }} as old_lines,
        {{ text_lines("coalesce(new_text, '')") }} as new_lines
    from edits

),

prefixed as (

    select texts.*, {{ common_prefix('old_lines', 'new_lines') }} as prefix from texts

),

suffixed as (

    select prefixed.*, {{ common_suffix('old_lines', 'new_lines', 'prefix') }} as suffix from prefixed

),

trimmed as (

    select
        tool_use_id,
        edit_number,
        {{ list_middle('old_lines', 'prefix', 'suffix') }} as old_lines,
        {{ list_middle('new_lines', 'prefix', 'suffix') }} as new_lines
    from suffixed

),

measured as (

    select
        trimmed.*,
        {{ list_length('old_lines') }} as old_count,
        {{ list_length('new_lines') }} as new_count,
        {{ list_length('old_lines') }} * {{ list_length('new_lines') }} as cells,
        case when {{ list_length('old_lines') }} < {{ list_length('new_lines') }} then old_lines else new_lines end as shorter,
        case when {{ list_length('old_lines') }} < {{ list_length('new_lines') }} then new_lines else old_lines end as longer
    from trimmed

),

large_edit_lines as (

    select tool_use_id, edit_number, 1 as old_line, 0 as new_line, {{ explode('old_lines') }} as line
    from measured where cells > {{ max_cells }}
    union all
    select tool_use_id, edit_number, 0 as old_line, 1 as new_line, {{ explode('new_lines') }} as line
    from measured where cells > {{ max_cells }}

),

common as (

    select
        tool_use_id,
        edit_number,
        case when cells = 0 then 0 else {{ common_lines('longer', 'shorter') }} end as common_count
    from measured
    where cells <= {{ max_cells }}

    union all

    select tool_use_id, edit_number, sum(least(old_copies, new_copies)) as common_count
    from (
        select tool_use_id, edit_number, line, sum(old_line) as old_copies, sum(new_line) as new_copies
        from large_edit_lines
        group by tool_use_id, edit_number, line
    )
    group by tool_use_id, edit_number

)

select
    unpatched.tool_use_id,
    unpatched.session_id,
    cast(sum(measured.new_count - common.common_count) as bigint) as lines_added,
    cast(sum(measured.old_count - common.common_count) as bigint) as lines_removed,
    unpatched.version as _version
from unpatched
inner join measured on measured.tool_use_id = unpatched.tool_use_id
inner join common on common.tool_use_id = measured.tool_use_id and common.edit_number = measured.edit_number
group by unpatched.tool_use_id, unpatched.session_id, unpatched.version
