#include "network.h"

#include "firmware.h"

enum {
    PCI_BASE_CLASS = 0x0B, /* PCI Local Bus 3.0 §6.1 */
    PCI_CLASS_NETWORK = 2,
    CARDS_MAX = 16,
    LINK_WAIT_MS = 5000, /* a gigabit card takes 2 to 4 s to agree with its switch */
    LINK_POLL_MS = 100,
};

struct card {
    EFI_HANDLE handle;
    EFI_SIMPLE_NETWORK_PROTOCOL *network;
    BOOLEAN was_started, was_initialized; /* by another program before us */
    BOOLEAN usable;
};

/* Have the firmware connect its drivers to all network cards on PCI. */
static void connect_network_cards(void)
{
    UINTN count;
    EFI_HANDLE *handles = handles_with((EFI_GUID)EFI_PCI_IO_PROTOCOL_GUID, &count);

    for (UINTN i = 0; handles && i < count; i++) {
        EFI_PCI_IO_PROTOCOL *pci = protocol_of(handles[i], (EFI_GUID)EFI_PCI_IO_PROTOCOL_GUID);
        UINT8 class;
        /* UEFI 2.10 §14.4.9 */
        if (!pci
            || EFI_ERROR(pci->Pci.Read(pci, EfiPciIoWidthUint8, PCI_BASE_CLASS, 1, &class))
            || class != PCI_CLASS_NETWORK)
            continue;
        /* UEFI 2.10 §7.3.12: an error means no driver, and then no Simple Network will appear. */
        (void)boot_services->ConnectController(handles[i], NULL, NULL, TRUE);
    }
    release(handles);
}

/*
 * Ready the card for telling whether it has a link. UEFI 2.10 §24.1.2, §24.1.4
 *
 * @v card  the card; says afterwards what it was before, and whether it can be used
 */
static void switch_on(struct card *card)
{
    EFI_SIMPLE_NETWORK_PROTOCOL *network = card->network;
    EFI_STATUS status = EFI_SUCCESS;

    card->was_started = network->Mode->State != EfiSimpleNetworkStopped;
    card->was_initialized = network->Mode->State == EfiSimpleNetworkInitialized;
    if (!card->was_started)
        status = network->Start(network);
    if (!EFI_ERROR(status) && !card->was_initialized)
        status = network->Initialize(network, 0, 0);
    card->usable = !EFI_ERROR(status);
}

/*
 * Leave the card as it was. UEFI 2.10 §24.1.3, §24.1.6: what fails here was not on.
 *
 * @v card  the card, after switch_on()
 */
static void switch_off(struct card *card)
{
    if (!card->was_initialized)
        (void)card->network->Shutdown(card->network);
    if (!card->was_started)
        (void)card->network->Stop(card->network);
}

/*
 * Ask a card for its link.
 *
 * @v card  the card, after switch_on()
 * @ret     whether it has one, or cannot tell
 */
static BOOLEAN has_link(struct card *card)
{
    EFI_SIMPLE_NETWORK_PROTOCOL *network = card->network;
    UINT32 interrupts;

    if (!card->usable)
        return FALSE;
    if (!network->Mode->MediaPresentSupported)
        return TRUE; /* for all that we know */
    /* UEFI 2.10 §24.1.12: brings Mode->MediaPresent up to date. */
    return !EFI_ERROR(network->GetStatus(network, &interrupts, NULL))
           && network->Mode->MediaPresent;
}

/*
 * Find the first card with a link.
 *
 * @v cards  the cards, after switch_on()
 * @v count  their number
 * @ret      its handle; NULL if none has a link
 */
static EFI_HANDLE first_with_link(struct card *cards, UINTN count)
{
    for (UINTN i = 0; i < count; i++) {
        if (has_link(&cards[i]))
            return cards[i].handle;
    }
    return NULL;
}

EFI_HANDLE working_card(void)
{
    struct card cards[CARDS_MAX];
    UINTN count, usable = 0;

    connect_network_cards();
    EFI_HANDLE *handles = handles_with((EFI_GUID)EFI_SIMPLE_NETWORK_PROTOCOL_GUID, &count);
    if (!handles)
        return NULL;
    if (count > CARDS_MAX)
        count = CARDS_MAX;
    for (UINTN i = 0; i < count; i++) {
        cards[i].handle = handles[i];
        cards[i].network = protocol_of(handles[i], (EFI_GUID)EFI_SIMPLE_NETWORK_PROTOCOL_GUID);
        switch_on(&cards[i]);
        usable += cards[i].usable;
    }
    release(handles);
    trace(L"network interfaces: ", status_text(count));

    EFI_HANDLE found = first_with_link(cards, count);
    for (int ms = 0; usable && !found && ms < LINK_WAIT_MS; ms += LINK_POLL_MS) {
        (void)boot_services->Stall(LINK_POLL_MS * 1000); /* UEFI 2.10 §7.5.2: cannot fail */
        found = first_with_link(cards, count);
    }
    trace(found ? L"a card has a link" : L"no card has a link");
    for (UINTN i = 0; i < count; i++)
        switch_off(&cards[i]);
    return found;
}
