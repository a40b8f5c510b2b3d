/* The ACPI tables by which an operating system finds a RAM disk: NFIT and SSDT, as bytes. Pure. */
#ifndef ACPI_H
#define ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NFIT_SIZE = 96, SSDT_SIZE = 72, GUID_SIZE = 16 };

/* The NVDIMM Firmware Interface Table, with one range: a RAM disk of type `guid`. */
void acpi_make_nfit(uint8_t table[NFIT_SIZE], uint64_t start, uint64_t size,
                    const uint8_t guid[GUID_SIZE]);

/* An SSDT with the device ACPI0012, without which no driver looks at an NFIT. */
void acpi_make_ssdt(uint8_t table[SSDT_SIZE]);

/* Whether an NFIT has a range of exactly this place. `table` has the size that it claims. */
bool acpi_nfit_has(const uint8_t *table, uint64_t start, uint64_t size);

/* The size that a table's header (ACPI 6.5 §5.2.6) claims. */
uint32_t acpi_table_size(const uint8_t *table);

#endif
