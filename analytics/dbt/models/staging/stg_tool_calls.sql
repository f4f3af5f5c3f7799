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

-- Read before they are joined to their uses: an engine would otherwise hold the texts of all entries to find these.
results as (

    select
        ranked.tool_use_id,
        entry.timestamp,
        entry.is_error,
        entry.content,
        entry.result_size,
        entry.patch_lines_added,
        entry.patch_lines_removed,
        entry.result_type,
        entry.result_content_lines,
        entry.result_agent_id
    from ranked
    inner join {{ ref('stg_conversations') }} as entry on entry._id = ranked._id
    -- Says nothing new, but spares the other sessions' entries a look into a list of ids.
    inner join touched on touched.session_id = entry.session_id
    where ranked.type = 'tool_result'
        and ranked.telling = 1

)

select
    uses.tool_use_id,
    uses.line_id,
    entry.session_id,
    coalesce(entry.message_id, entry.uuid, uses.line_id) as response_id,
    coalesce(entry.tool_name, 'unknown') as tool_name,
    entry.tool_input,
    entry.seen_in,
    entry.is_sidechain,
    entry.agent_id,
    entry.timestamp,
    results.timestamp as result_timestamp,
    results.tool_use_id is not null as has_result,
    results.is_error,
    results.content as result_text,
    results.result_size,
    results.patch_lines_added,
    results.patch_lines_removed,
    results.result_type,
    results.result_content_lines,
    results.result_agent_id as spawned_agent_id,
    entry.source_file,
    entry.source_offset,
    touched.version as _version
from uses
inner join {{ ref('stg_conversations') }} as entry on entry._id = uses._id
inner join touched on touched.session_id = entry.session_id
left join results on results.tool_use_id = uses.tool_use_id
