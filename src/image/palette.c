/* The colours of classes. The first ones are picked by hand: 1 to 7 are those of Okabe and Ito's
 * "Color Universal Design" (2008), and 8 to 15 lean on Paul Tol's "muted" scheme, both made to be
 * told apart by colour-blind eyes; 16 to 20 fill the gaps. The rest comes from a grid in RGB,
 * walked in long strides so that neighbours differ much. */
#include "base/error.h"

#include <string.h>

static const uint8_t picked[][3] = {
    {0, 0, 0},      {230, 159, 0},  {86, 180, 233},  {0, 158, 115},   {240, 228, 66},
    {0, 114, 178},  {213, 94, 0},   {204, 121, 167}, {136, 34, 85},   {153, 153, 51},
    {51, 34, 136},  {68, 170, 153}, {204, 102, 119}, {17, 119, 51},   {221, 204, 119},
    {170, 68, 153}, {122, 74, 26},  {187, 187, 187}, {102, 153, 204}, {90, 60, 200},
    {150, 230, 80},
};

#define PICKED (int)(sizeof picked / sizeof picked[0])

/* Seven levels a channel. The constants were searched for: no two of the 256 colours are nearer
 * than 21 in RGB, and successive ones of the grid differ by 158 at least. */
#define LEVELS 7
#define CELLS  (LEVELS * LEVELS * LEVELS)
#define STRIDE 200
#define START  105

static const uint8_t lowest[3] = {39, 11, 34}, step[3] = {36, 40, 36};

void unet_class_color(int class_index, uint8_t rgb[3])
{
    int index = class_index & 255;
    if (index < PICKED) {
        memcpy(rgb, picked[index], 3);
        return;
    }
    int cell = (START + (index - PICKED) * STRIDE) % CELLS;
    for (int channel = 2; channel >= 0; channel--) {
        rgb[channel] = (uint8_t)(lowest[channel] + cell % LEVELS * step[channel]);
        cell /= LEVELS;
    }
}
