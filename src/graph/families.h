/* The families of networks that graph_recognize knows. Private to graph/. */
#ifndef UNET_GRAPH_FAMILIES_H
#define UNET_GRAPH_FAMILIES_H

#include "graph/layers.h"
#include "graph/recognize.h"

struct family {
    const char *name;   /* for messages */
    const char *marker; /* begins the names of the first block's tensors */
    /* Adds all layers and sets the graph's output, architecture and normalisation. */
    void (*build)(struct layers *layers, struct unet_facts *facts);
};

extern const struct family family_pytorch_unet;
extern const struct family family_brain;

#endif
