#include "cermet/core/error.h"

namespace cermet {

std::string describe(const Complaint& complaint) {
  std::string text(complaint.subject);
  if (!complaint.label.empty()) text.append(" \"").append(complaint.label).append("\"");
  text.append(": ").append(complaint.argument).append(" is ").append(complaint.got);
  if (!complaint.needed.empty()) text.append("; needed ").append(complaint.needed);
  text.append(".");
  if (!complaint.remedy.empty()) text.append(" ").append(complaint.remedy);
  return text;
}

void fail(const Complaint& complaint) { throw InvalidArgument(describe(complaint)); }

}  // namespace cermet
