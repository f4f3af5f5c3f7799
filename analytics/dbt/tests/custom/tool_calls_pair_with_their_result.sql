-- A call is answered where an original result carries its id, in whatever order or session they were written.
with results as (

    select distinct entry.tool_use_id
    from {{ ref('stg_conversations') }} as entry
    anti join {{ ref('stg_line_copies') }} as copies on copies.line_id = {{ line_id('entry') }}
    where entry.type = 'tool_result'
        and entry.tool_use_id is not null
        and entry.session_id is not null
        and not entry.is_deleted

)

select calls.tool_use_id
from {{ ref('stg_tool_calls') }} as calls
left join results on results.tool_use_id = calls.tool_use_id
where calls.has_result <> (results.tool_use_id is not null)
