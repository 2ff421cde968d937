#pragma once
// In core, which stores archives with it; this name stays.

#include "cermet/core/text.h"
