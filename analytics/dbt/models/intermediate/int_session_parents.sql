{{ config(materialized='table') }}

-- A session that shows another's records goes on from it. The nearest ancestor is the one whose records come
-- last; only an earlier session can be one, so that nothing descends from itself.
with ranked as (

    select
        bridge.session_id,
        bridge.original_session_id as parent_session_id,
        row_number() over (
            partition by bridge.session_id
            order by bridge.source_offset desc, parent.start_time desc, bridge.original_session_id
        ) as nearness
    from {{ ref('stg_copy_bridge') }} as bridge
    inner join {{ ref('int_sessions_computed') }} as child on child.session_id = bridge.session_id
    inner join {{ ref('int_sessions_computed') }} as parent on parent.session_id = bridge.original_session_id
    where bridge.session_id <> bridge.original_session_id
        and parent.start_time < child.start_time

)

select session_id, parent_session_id
from ranked
where nearness = 1
