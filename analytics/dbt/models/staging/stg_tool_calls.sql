{{ config(materialized='incremental', unique_key='tool_use_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

),

entries as (

    select
        entry._id,
        {{ line_id('entry') }} as line_id,
        entry.type,
        coalesce(entry.tool_use_id, entry._id) as tool_use_id,
        entry.seen_in,
        entry.timestamp,
        entry.source_file,
        entry.source_offset
    from {{ ref('stg_conversations') }} as entry
    inner join touched on touched.session_id = entry.session_id
    where entry.type in ('tool_use', 'tool_result')
        and not entry.is_deleted

),

-- One use and one result per id, however often they were written down.
ranked as (

    select
        entries._id,
        entries.type,
        entries.tool_use_id,
        entries.line_id,
        row_number() over (
            partition by entries.tool_use_id, entries.type
            order by {{ most_original() }}, _id
        ) as telling
    from entries
    anti join {{ ref('stg_line_copies') }} as copies on copies.line_id = entries.line_id

),

uses as (

    select * from ranked where type = 'tool_use' and telling = 1

),

results as (

    select * from ranked where type = 'tool_result' and telling = 1

)

select
    uses.tool_use_id,
    uses.line_id,
    use_entry.session_id,
    coalesce(use_entry.message_id, use_entry.uuid, uses.line_id) as response_id,
    coalesce(use_entry.tool_name, 'unknown') as tool_name,
    use_entry.tool_input,
    use_entry.seen_in,
    use_entry.is_sidechain,
    use_entry.agent_id,
    use_entry.timestamp,
    result_entry.timestamp as result_timestamp,
    result_entry._id is not null as has_result,
    result_entry.is_error,
    result_entry.content as result_text,
    result_entry.patch_lines_added,
    result_entry.patch_lines_removed,
    result_entry.result_type,
    result_entry.result_content_lines,
    result_entry.result_agent_id as spawned_agent_id,
    use_entry.source_file,
    use_entry.source_offset,
    touched.version as _version
from uses
inner join {{ ref('stg_conversations') }} as use_entry on use_entry._id = uses._id
inner join touched on touched.session_id = use_entry.session_id
left join results on results.tool_use_id = uses.tool_use_id
left join {{ ref('stg_conversations') }} as result_entry on result_entry._id = results._id
