/* The network cards that the firmware drives. */
#ifndef NETWORK_H
#define NETWORK_H

#include <efi.h>

/*
 * Have the firmware connect its drivers to the network cards, which a fast boot leaves out. Choose
 * the first that works: whose cable leads somewhere.
 *
 * @ret  its handle; NULL if the firmware drives none such
 */
EFI_HANDLE working_card(void);

#endif
