/* Tables with another program's names. Private to quant/. */
#ifndef UNET_QUANT_TABLE_ORDER_H
#define UNET_QUANT_TABLE_ORDER_H

#include "quant/table.h"

/* Fills in the ranges of tensors by the order of the table's. */
unet_status quant_match_order(const struct quant_table *table, const struct graph *graph,
                              struct quant_ranges *ranges, unet_error *error);

#endif
