{{ config(materialized='table') }}

-- Files are named after their session, sub-agents' files aside.
with session_files as (

    select files.source_file, session.session_id
    from (
        select source_file, {{ file_stem('source_file') }} as file_stem
        from (select distinct source_file from {{ source('raw', 'sightings') }})
    ) as files
    inner join {{ ref('int_session_versions') }} as session
        on session.session_id = files.file_stem and session.entry_count > 0

),

records as (

    select record_id, message_index, session_id, source_file, source_offset, machine
    from {{ ref('stg_conversations') }}
    where message_index = 0
        and block_index = 0
        and not is_deleted
        and session_id is not null

),

-- Few are, and only they need to be looked up place by place.
repeated as (

    select _id
    from {{ source('raw', 'sightings') }}
    group by _id
    having count(*) > 1

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
inner join repeated on repeated._id = seen._id
inner join records as record on record.record_id = seen._id
left join session_files on session_files.source_file = seen.source_file
where seen.source_file <> record.source_file
    or seen.source_offset <> record.source_offset
    or seen.machine is distinct from record.machine
    or session_files.session_id <> record.session_id

union all

-- Seen once, but in the file of another session: its original is gone.
select
    'verbatim' as copy_kind,
    session_files.session_id,
    record.session_id as original_session_id,
    record.record_id,
    {{ line_id('record') }} as original_line_id,
    record.source_file,
    record.source_offset
from records as record
inner join session_files on session_files.source_file = record.source_file
anti join repeated on repeated._id = record.record_id
where session_files.session_id <> record.session_id
