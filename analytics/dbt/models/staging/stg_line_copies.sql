{{ config(materialized='incremental', unique_key='line_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

),

lines as (

    select
        {{ line_id('entries') }} as line_id,
        entries.uuid,
        entries.session_id,
        entries.record_id,
        entries.seen_in,
        entries.timestamp,
        entries.source_file,
        entries.source_offset,
        touched.version
    from {{ ref('stg_conversations') }} as entries
    inner join touched on touched.session_id = entries.session_id
    where entries.uuid is not null
        and entries.block_index = 0
        and not entries.is_deleted

),

-- Counted apart from the lines, so that these need not be held to be read twice.
repeated as (

    select entries.uuid
    from {{ ref('stg_conversations') }} as entries
    inner join touched on touched.session_id = entries.session_id
    where entries.uuid is not null
        and entries.block_index = 0
        and not entries.is_deleted
    group by entries.uuid
    having count(*) > 1

),

-- The earliest is the original: resuming and forking write the same event anew, later.
ranked as (

    select
        lines.*,
        row_number() over originality as copy_number,
        first_value(lines.line_id) over originality as original_line_id,
        first_value(lines.session_id) over originality as original_session_id
    from lines
    inner join repeated on repeated.uuid = lines.uuid
    window originality as (
        partition by lines.uuid
        order by
            lines.seen_in desc, lines.timestamp nulls last,
            lines.source_file, lines.source_offset, lines.line_id
        rows between unbounded preceding and current row
    )

)

select
    line_id,
    uuid,
    record_id,
    session_id,
    original_line_id,
    original_session_id,
    seen_in,
    timestamp,
    source_file,
    source_offset,
    version as _version
from ranked
where copy_number > 1
