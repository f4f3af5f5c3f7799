{{ config(materialized='incremental', unique_key='session_id') }}

{#- Ids that a copied or resumed conversation repeats, and which entries to ask for each. -#}
{% set shared_ids = [('uuid', 'block_index = 0'), ('message_id', 'block_index = 0'), ('tool_use_id', 'true')] %}

with recursive sessions as (

    select
        session_id,
        count(*) as entry_count,
        max(_load_seq) as last_load
    from {{ ref('stg_conversations') }}
    where session_id is not null
    group by session_id

),

changed as (

    {% if is_incremental() %}
    -- Some of its entries are newer, or some moved to another session.
    select coalesce(sessions.session_id, known.session_id) as session_id
    from sessions
    full outer join {{ this }} as known on known.session_id = sessions.session_id
    where coalesce(sessions.entry_count, 0) is distinct from known.entry_count
        or coalesce(sessions.last_load, -1) is distinct from known.last_load

    union

    -- A summary speaks of the session of its leaf, wherever it was written.
    select leaf.session_id
    from {{ ref('stg_conversations') }} as summary
    inner join {{ ref('stg_conversations') }} as leaf on leaf.uuid = summary.leaf_uuid
    where summary.type = 'summary'
        and summary._load_seq > (select coalesce(max(version), -1) from {{ this }})
        and leaf.session_id is not null
    {% else %}
    select session_id from sessions
    {% endif %}

),

-- What entries of several sessions can share: then one session's rows depend on the other's.
entry_keys as (

    {% for key, entries in shared_ids %}
    {{ 'union all' if not loop.first else '' }}
    select session_id, {{ key }} as shared_key
    from {{ ref('stg_conversations') }}
    where session_id is not null and {{ key }} is not null and {{ entries }}
    {% endfor %}

),

shared_keys as (

    {% if is_incremental() %}
    -- Links among the other sessions are known already, so only the changed sessions' keys are looked at.
    select shared_key, min(session_id) as first_session_id
    from entry_keys
    where shared_key in (
        select entry_keys.shared_key
        from entry_keys
        inner join changed on changed.session_id = entry_keys.session_id
    )
    group by shared_key
    having min(session_id) <> max(session_id)
    {% else %}
    -- One kind of key after the other: all at once would be held in memory three times over.
    {% for key, entries in shared_ids %}
    {{ 'union all' if not loop.first else '' }}
    select {{ key }} as shared_key, min(session_id) as first_session_id
    from {{ ref('stg_conversations') }}
    where session_id is not null and {{ key }} is not null and {{ entries }}
    group by {{ key }}
    having min(session_id) <> max(session_id)
    {% endfor %}
    {% endif %}

),

links as (

    select entry_keys.session_id, shared_keys.first_session_id as linked_session_id
    from entry_keys
    inner join shared_keys on shared_keys.shared_key = entry_keys.shared_key
    where entry_keys.session_id <> shared_keys.first_session_id
    {% if is_incremental() %}
    union
    select session_id, {{ explode('linked_sessions') }} as linked_session_id
    from {{ this }}
    {% endif %}

),

touched as (

    select session_id from changed
    {% if is_incremental() %}
    union
    select neighbours.session_id
    from touched
    inner join (
        select session_id, linked_session_id as neighbour_id from links
        union
        select linked_session_id as session_id, session_id as neighbour_id from links
    ) as neighbours on neighbours.neighbour_id = touched.session_id
    {% endif %}

),

links_of as (

    select session_id, array_agg(distinct linked_session_id) as linked_sessions
    from links
    group by session_id

)

select
    touched.session_id,
    (select max(_load_seq) from {{ ref('stg_conversations') }}) as version,
    coalesce(sessions.entry_count, 0) as entry_count,
    coalesce(sessions.last_load, -1) as last_load,
    links_of.linked_sessions
from touched
left join sessions on sessions.session_id = touched.session_id
left join links_of on links_of.session_id = touched.session_id
