{{ config(severity='warn') }}

-- A message that answers another one should find it; logs that were cut or lost leave some without.
select line.line_id
from {{ ref('stg_messages') }} as line
anti join {{ ref('stg_conversations') }} as parent on parent.uuid = line.parent_uuid
where line.parent_uuid is not null
    and line.seen_in = 'transcript'
