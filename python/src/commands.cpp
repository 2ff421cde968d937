// Committing, which the end of the interpreter waits for.

#include "handwritten.h"

namespace cermet::python {
namespace {

/// Counts the piece of work until its handlers have run.
void count(CommandBuffer& commands) {
  commands.addCompletedHandler([token = work_in_flight()](const CommandBuffer&) {});
}

}  // namespace

void define_commands() {
  Adder<CommandBuffer>()
      .method(
          "commit",
          [](CommandBuffer& self) {
            count(self);
            self.commit();
          },
          Unlocked(), "Hands the work to the device. Nothing can be encoded or committed after it.")
      .method(
          "commit_and_continue",
          [](CommandBuffer& self) {
            count(self);
            self.commitAndContinue();
          },
          Unlocked(),
          "Commits what is recorded and goes on in a fresh buffer of the same queue; temporaries "
          "made\n"
          "before stay usable. Handlers added so far stay with the committed piece.");
}

}  // namespace cermet::python
