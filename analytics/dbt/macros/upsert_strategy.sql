{#- How rows come, change and go. Records are the unit of increment in stg_conversations, sessions everywhere
    after it: a touched session is computed again as a whole, merged by key, and what it no longer produces is
    deleted. So an incremental build ends where a full refresh would. -#}

{#- The condition that keeps the raw rows loaded or changed since the last build. -#}
{%- macro is_new_record() -%}
{%- if is_incremental() -%}
_load_seq > (select coalesce(max(_load_seq), -1) from {{ this }})
{%- else -%}
true
{%- endif -%}
{%- endmacro -%}

{#- Whether a record counts as gone. The lake keeps history unless told otherwise. -#}
{%- macro is_deleted(op) -%}
{%- if var('on_delete') == 'remove' -%}coalesce({{ op }} = 'delete', false){%- else -%}false{%- endif -%}
{%- endmacro -%}

{#- A changed record may give fewer entries than before; its first entry always comes anew and tells the time. Compared
    for equality here and below: engines make a plain join of that, and no distinct list of both keys first. -#}
{%- macro remove_vanished_entries() -%}
{%- if is_incremental() -%}
delete from {{ this }} as entry
where (entry.message_index > 0 or entry.block_index > 0)
    and not exists (
        select 1 from {{ this }} as head
        where head.record_id = entry.record_id
            and head.message_index = 0
            and head.block_index = 0
            and head._load_seq = entry._load_seq
    )
{%- endif -%}
{%- endmacro -%}

{#- Sessions to compute in this build, as (session_id, version). -#}
{%- macro touched_sessions() -%}
select session_id, version
    from {{ ref('int_session_versions') }}
    {%- if is_incremental() %}
    where version > (select coalesce(max(_version), -1) from {{ this }})
    {%- endif %}
{%- endmacro -%}

{#- Rows whose session was computed again without producing them. -#}
{%- macro remove_stale_rows() -%}
{%- if is_incremental() -%}
delete from {{ this }} as old
where not exists (
    select 1 from {{ ref('int_session_versions') }} as now
    where now.session_id = old.session_id
        and now.version = old._version
)
{%- endif -%}
{%- endmacro -%}
