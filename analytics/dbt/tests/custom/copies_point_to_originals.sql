-- The line a copy names is no copy itself and tells the same event.
select copy.line_id
from {{ ref('stg_line_copies') }} as copy
left join {{ ref('stg_line_copies') }} as original on original.line_id = copy.original_line_id
where original.line_id is not null
