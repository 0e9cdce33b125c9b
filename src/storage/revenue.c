/* What of revenue is the same in both engines. */
#include "storage/engine.h"

bool storage_revenue_is_valid(const struct storage_write *write)
{
    struct decimal amount;
    if (write->count > STORAGE_REVENUES_MAX || write->file.length == 0 ||
        write->file.length > STORAGE_FILE_BYTES || write->position_before >= write->position_after ||
        write->position_after > INT64_MAX || write->lines_after > INT64_MAX)
        return false;
    for (size_t i = 0; i < write->count; i++)
        if (decimal_parse(write->revenues[i].amount, &amount) != DECIMAL_OK)
            return false;
    return true;
}

int storage_revenue_format(struct text stored, char amount[static STORAGE_REVENUE_BYTES])
{
    struct decimal sum;
    if (decimal_parse(stored, &sum) != DECIMAL_OK)
        return -1;
    decimal_format(&sum, amount);
    return 0;
}
