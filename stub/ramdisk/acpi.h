/* The ACPI tables by which an operating system finds a RAM disk: NFIT and SSDT, as bytes. Pure. */
#ifndef ACPI_H
#define ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NFIT_SIZE = 96, SSDT_SIZE = 72, GUID_SIZE = 16 };

/*
 * Make an NVDIMM Firmware Interface Table with one range: a RAM disk.
 *
 * @v table  where it goes
 * @v start  where the RAM disk lies in memory
 * @v size   its size in bytes
 * @v guid   its type
 */
void acpi_make_nfit(uint8_t table[NFIT_SIZE], uint64_t start, uint64_t size,
                    const uint8_t guid[GUID_SIZE]);

/*
 * Make an SSDT with the device ACPI0012, without which no driver looks at an NFIT.
 *
 * @v table  where it goes
 */
void acpi_make_ssdt(uint8_t table[SSDT_SIZE]);

/*
 * Look for a range in an NFIT.
 *
 * @v table  the NFIT, which has the size that it claims
 * @v start  where the range lies in memory
 * @v size   its size in bytes
 * @ret      whether the NFIT has a range of exactly this place
 */
bool acpi_nfit_has(const uint8_t *table, uint64_t start, uint64_t size);

/*
 * Read the size that a table's header claims (ACPI 6.5 §5.2.6).
 *
 * @v table  the table
 * @ret      its size in bytes
 */
uint32_t acpi_table_size(const uint8_t *table);

#endif
