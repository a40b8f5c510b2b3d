#include "memory.h"

#include "firmware.h"

enum {
    BOUNDARY = 2 * 1024 * 1024, /* what Linux maps persistent memory by */
    BOUNDARY_PAGES = BOUNDARY / PAGE_SIZE,
    MAP_SLACK = 4096, /* the map grows by being allocated for */
};

/*
 * Give memory back to the firmware; says why not. UEFI 2.10 §7.2
 *
 * @v start  where it begins
 * @v pages  how many pages; none is nothing to do
 */
static void free_pages(uint64_t start, uint64_t pages)
{
    EFI_STATUS status = pages ? services->FreePages(start, pages) : EFI_SUCCESS; /* §7.2 */

    if (EFI_ERROR(status))
        say("%lu KiB of memory could not be freed: %s", pages * 4, words_for(status));
}

EFI_STATUS reserve_memory(uint64_t size, struct image *image)
{
    if (size > UINT64_MAX / 2)
        return EFI_OUT_OF_RESOURCES;
    uint64_t pages = (size + PAGE_SIZE - 1) / PAGE_SIZE;

    /*
     * UEFI 2.10 §7.2 AllocatePages. Reserved memory, for only such the firmware's RAM disk tells
     * the operating system of, and only such is left alone. With pages to spare for the boundary;
     * those go back at once.
     */
    EFI_PHYSICAL_ADDRESS start;
    EFI_STATUS status = services->AllocatePages(AllocateAnyPages, EfiReservedMemoryType,
                                                pages + BOUNDARY_PAGES - 1, &start);
    if (EFI_ERROR(status))
        return status;
    uint64_t aligned = (start + BOUNDARY - 1) / BOUNDARY * BOUNDARY;
    uint64_t before = (aligned - start) / PAGE_SIZE;
    free_pages(start, before);
    free_pages(aligned + pages * PAGE_SIZE, BOUNDARY_PAGES - 1 - before);

    trace("%lu bytes of memory at 0x%lx", pages * PAGE_SIZE, aligned);
    *image = (struct image){(uint8_t *)aligned, size, pages * PAGE_SIZE};
    __builtin_memset(image->bytes + size, 0, image->reserved_size - size);
    return EFI_SUCCESS;
}

void release_memory(struct image *image)
{
    if (image->bytes)
        free_pages((uint64_t)image->bytes, image->reserved_size / PAGE_SIZE);
    *image = (struct image){0};
}

uint64_t largest_free_memory(void)
{
    UINTN size = 0, key, step;
    UINT32 version;
    void *map;
    uint64_t largest = 0;

    /* UEFI 2.10 §7.2 GetMemoryMap: the first call tells the size. */
    if (services->GetMemoryMap(&size, NULL, &key, &step, &version) != EFI_BUFFER_TOO_SMALL)
        return 0;
    size += MAP_SLACK;
    if (EFI_ERROR(services->AllocatePool(EfiBootServicesData, size, &map)))
        return 0;
    if (!EFI_ERROR(services->GetMemoryMap(&size, map, &key, &step, &version)))
        for (UINTN at = 0; at + sizeof(EFI_MEMORY_DESCRIPTOR) <= size; at += step) {
            const EFI_MEMORY_DESCRIPTOR *piece = (void *)((uint8_t *)map + at);
            if (piece->Type == EfiConventionalMemory && piece->NumberOfPages * PAGE_SIZE > largest)
                largest = piece->NumberOfPages * PAGE_SIZE;
        }
    EFI_STATUS status = services->FreePool(map);
    return EFI_ERROR(status) ? 0 : largest;
}
