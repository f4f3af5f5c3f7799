{{ config(severity='warn') }}

-- Conversation lines without a timestamp belong to no day.
select line_id
from {{ ref('stg_messages') }}
where timestamp is null
