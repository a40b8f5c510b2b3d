/* The network cards that the firmware drives. */
#ifndef NETWORK_H
#define NETWORK_H

#include <efi.h>

/*
 * Have the firmware connect its drivers to the network cards, which a fast boot leaves out, and
 * choose one that works: whose cable leads somewhere, and if there are several, the one that
 * `booted_from` is reached by. NULL if the firmware drives none such.
 */
EFI_HANDLE working_card(EFI_HANDLE booted_from);

#endif
