// The EFI stub for AArch64: x86_64.s, which explains it, once more.
//
//   aarch64-linux-gnu-as -o aarch64.o aarch64.s && aarch64-linux-gnu-objcopy -O binary -j .text aarch64.o aarch64.bin

        // EFI_SYSTEM_TABLE and EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL
        .set ConOut, 0x40
        .set BootServices, 0x60
        .set OutputString, 0x08
        // EFI_BOOT_SERVICES
        .set InstallProtocolInterface, 0x80
        .set UninstallProtocolInterface, 0x90
        .set HandleProtocol, 0x98
        .set LoadImage, 0xc8
        .set StartImage, 0xd0
        .set Stall, 0xf8
        // EFI_LOADED_IMAGE_PROTOCOL
        .set DeviceHandle, 0x18
        .set LoadOptionsSize, 0x30
        .set LoadOptions, 0x38

        // Our stack frame
        .set load_file2, 0x50
        .set kernel_handle, 0x58
        .set loaded_image, 0x60
        .set initrd_handle, 0x68
        .set text, 0x70                 // 21 UTF-16 units
        .set frame, 0xa0

        .text
start:
        stp     x29, x30, [sp, #-frame]!
        mov     x29, sp
        stp     x19, x20, [sp, #0x10]   // our handle, boot services
        stp     x21, x22, [sp, #0x20]   // where the image is, our LoadedImage
        stp     x23, x24, [sp, #0x30]   // system table, the step
        str     x25, [sp, #0x40]        // interfaces installed
        mov     x19, x0
        mov     x23, x1
        ldr     x20, [x1, #BootServices]
        adr     x21, start
        sub     x21, x21, #0x1000
        mov     x25, #0

        mov     x24, #'1'
        mov     x0, x19
        adr     x1, loaded_image_guid
        add     x2, sp, #loaded_image
        ldr     x8, [x20, #HandleProtocol]
        blr     x8
        cbnz    x0, failed
        ldr     x22, [sp, #loaded_image]

        add     x24, x24, #1
        ldr     w9, initrd_size
        cbz     w9, load
        str     xzr, [sp, #initrd_handle]
        add     x0, sp, #initrd_handle
        adr     x1, device_path_guid
        mov     x2, #0
        adr     x3, initrd_path
        ldr     x8, [x20, #InstallProtocolInterface]
        blr     x8
        cbnz    x0, failed
        add     x25, x25, #1
        adr     x9, load_initrd
        str     x9, [sp, #load_file2]
        add     x0, sp, #initrd_handle
        adr     x1, load_file2_guid
        mov     x2, #0
        add     x3, sp, #load_file2
        ldr     x8, [x20, #InstallProtocolInterface]
        blr     x8
        cbnz    x0, failed
        add     x25, x25, #1

load:
        add     x24, x24, #1
        mov     x0, #0
        mov     x1, x19
        adr     x2, kernel_path
        ldr     w3, kernel
        add     x3, x21, x3
        ldr     w4, kernel_size
        add     x5, sp, #kernel_handle
        ldr     x8, [x20, #LoadImage]
        blr     x8
        cbnz    x0, failed

        add     x24, x24, #1
        ldr     x0, [sp, #kernel_handle]
        adr     x1, loaded_image_guid
        add     x2, sp, #loaded_image
        ldr     x8, [x20, #HandleProtocol]
        blr     x8
        cbnz    x0, failed
        ldr     x9, [sp, #loaded_image]
        ldr     w10, cmdline_size
        str     w10, [x9, #LoadOptionsSize]
        ldr     w10, cmdline
        add     x10, x21, x10
        str     x10, [x9, #LoadOptions]
        ldr     x10, [x22, #DeviceHandle]
        str     x10, [x9, #DeviceHandle]

        add     x24, x24, #1
        ldr     x0, [sp, #kernel_handle]
        mov     x1, #0
        mov     x2, #0
        ldr     x8, [x20, #StartImage]
        blr     x8

// x0 is the status.
failed:
        mov     x22, x0
        cmp     x25, #2
        b.lo    1f
        ldr     x0, [sp, #initrd_handle]
        adr     x1, load_file2_guid
        add     x2, sp, #load_file2
        ldr     x8, [x20, #UninstallProtocolInterface]
        blr     x8
1:      cbz     x25, 2f
        ldr     x0, [sp, #initrd_handle]
        adr     x1, device_path_guid
        adr     x2, initrd_path
        ldr     x8, [x20, #UninstallProtocolInterface]
        blr     x8

2:      ldr     x21, [x23, #ConOut]
        cbz     x21, 5f
        mov     x0, x21
        adr     x1, message
        ldr     x8, [x21, #OutputString]
        blr     x8
        add     x1, sp, #text           // "5 800000000000000e\r\n"
        strh    w24, [x1], #2
        mov     w9, #' '
        strh    w9, [x1], #2
        mov     x10, x22
        mov     w11, #16
3:      ror     x10, x10, #60
        and     w9, w10, #15
        add     w9, w9, #'0'
        cmp     w9, #'9'
        b.ls    4f
        add     w9, w9, #'a'-'9'-1
4:      strh    w9, [x1], #2
        subs    w11, w11, #1
        b.ne    3b
        mov     w9, #'\r'
        strh    w9, [x1], #2
        mov     w9, #'\n'
        strh    w9, [x1], #2
        strh    wzr, [x1]
        mov     x0, x21
        add     x1, sp, #text
        ldr     x8, [x21, #OutputString]
        blr     x8
        movz    x0, #0x9680             // 10,000,000 microseconds
        movk    x0, #0x98, lsl #16
        ldr     x8, [x20, #Stall]
        blr     x8

5:      mov     x0, x22
        ldr     x25, [sp, #0x40]
        ldp     x23, x24, [sp, #0x30]
        ldp     x21, x22, [sp, #0x20]
        ldp     x19, x20, [sp, #0x10]
        ldp     x29, x30, [sp], #frame
        ret

// EFI_LOAD_FILE2_PROTOCOL.LoadFile(This, FilePath, BootPolicy, *BufferSize, Buffer)
load_initrd:
        mov     x0, #0x8000000000000000
        orr     x9, x0, #3              // EFI_UNSUPPORTED: it is no boot option
        tst     w2, #0xff
        b.ne    2f
        ldr     w10, initrd_size
        ldr     x11, [x3]
        str     x10, [x3]
        mov     x9, #5                  // EFI_BUFFER_TOO_SMALL
        orr     x9, x9, x0
        cbz     x4, 2f
        cmp     x11, x10
        b.lo    2f
        adr     x12, start
        sub     x12, x12, #0x1000
        ldr     w11, initrd
        add     x12, x12, x11
1:      ldrb    w11, [x12], #1
        strb    w11, [x4], #1
        subs    x10, x10, #1
        b.ne    1b
        mov     x9, #0
2:      mov     x0, x9
        ret

        .balign 8
loaded_image_guid:                      // 5b1b31a1-9562-11d2-8e3f-00a0c969723b
        .long   0x5b1b31a1
        .short  0x9562, 0x11d2
        .byte   0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b
device_path_guid:                       // 09576e91-6d3f-11d2-8e39-00a0c969723b
        .long   0x09576e91
        .short  0x6d3f, 0x11d2
        .byte   0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b
load_file2_guid:                        // 4006c0c1-fcb3-403e-996d-4a6c8724e06d
        .long   0x4006c0c1
        .short  0xfcb3, 0x403e
        .byte   0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d
initrd_path:                            // media, vendor: 5568e427-68fc-4f3d-ac74-ca555231cc68, by which Linux asks
        .byte   4, 3, 20, 0
        .long   0x5568e427
        .short  0x68fc, 0x4f3d
        .byte   0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68
        .byte   0x7f, 0xff, 4, 0
kernel_path:                            // hardware, memory mapped; the firmware wants a path, nothing reads it
        .byte   1, 3, 24, 0
        .long   4
        .quad   0, 0
        .byte   0x7f, 0xff, 4, 0
message:
        .string16 "lfs-image: boot step "

        .balign 8
// RVA and size in bytes of the other sections, filled in when an image is made.
parameters:
cmdline:        .long   0
cmdline_size:   .long   0
kernel:         .long   0
kernel_size:    .long   0
initrd:         .long   0
initrd_size:    .long   0
