{% snapshot dim_projects_snapshot %}

{{ config(
    schema='snapshots',
    unique_key='project_key',
    strategy='timestamp',
    updated_at='last_active'
) }}

-- A project without any instant has no state that could be dated.
select project_key, project_path, project_name, first_seen, last_active, total_sessions, total_messages
from {{ ref('dim_projects') }}
where last_active is not null

{% endsnapshot %}
