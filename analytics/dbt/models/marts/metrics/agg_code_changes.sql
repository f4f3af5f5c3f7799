{{ config(materialized='table') }}

with changes as (

    select
        hours.date,
        operation.project_key,
        operation.file_path,
        operation.file_extension,
        count(*) as operations,
        count(*) filter (where operation.operation_type = 'edit') as edits,
        count(*) filter (where operation.operation_type = 'create') as creations,
        count(distinct operation.session_key) as sessions,
        sum(operation.lines_added) as lines_added,
        sum(operation.lines_removed) as lines_removed,
        sum(operation.lines_changed) as lines_changed
    from {{ ref('fct_file_operations') }} as operation
    inner join {{ ref('dim_date') }} as hours on hours.date_key = operation.date_key
    where operation.operation_type <> 'read'
    group by hours.date, operation.project_key, operation.file_path, operation.file_extension

)

select
    {{ dbt_utils.generate_surrogate_key(['date', 'project_key', 'file_path']) }} as change_key,
    date,
    project_key,
    file_path,
    file_extension,
    cast(operations as bigint) as operations,
    cast(edits as bigint) as edits,
    cast(creations as bigint) as creations,
    cast(sessions as bigint) as sessions,
    cast(lines_added as bigint) as lines_added,
    cast(lines_removed as bigint) as lines_removed,
    cast(lines_changed as bigint) as lines_changed
from changes
