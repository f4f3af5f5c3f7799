{{ config(materialized='view') }}

-- Files are named after their session, sub-agents' files aside.
with session_files as (

    select files.source_file, session.session_id
    from (
        select source_file, {{ file_stem('source_file') }} as file_stem
        from (select distinct source_file from {{ source('raw', 'sightings') }})
    ) as files
    inner join {{ ref('int_session_versions') }} as session
        on session.session_id = files.file_stem and session.entry_count > 0

)

-- Lines written anew under another record: resumes, forks, repeats, progress ticks.
select
    case when copy.seen_in = 'progress' then 'progress' else 'rewritten' end as copy_kind,
    copy.session_id,
    copy.original_session_id,
    copy.record_id,
    copy.original_line_id,
    copy.source_file,
    copy.source_offset
from {{ ref('stg_line_copies') }} as copy

union all

-- The very same record in a second place, or in the file of another session.
select
    'verbatim' as copy_kind,
    coalesce(session_files.session_id, record.session_id) as session_id,
    record.session_id as original_session_id,
    record.record_id,
    {{ line_id('record') }} as original_line_id,
    seen.source_file,
    seen.source_offset
from {{ source('raw', 'sightings') }} as seen
inner join {{ ref('stg_conversations') }} as record
    on record.record_id = seen._id and record.message_index = 0 and record.block_index = 0
left join session_files on session_files.source_file = seen.source_file
where not record.is_deleted
    and record.session_id is not null
    and (
        seen.source_file <> record.source_file
        or seen.source_offset <> record.source_offset
        or seen.machine is distinct from record.machine
        or session_files.session_id <> record.session_id
    )
