-- No raw record is lost, whatever its shape.
select record._id
from {{ source('raw', 'conversations') }} as record
anti join {{ ref('stg_conversations') }} as entry on entry.record_id = record._id
